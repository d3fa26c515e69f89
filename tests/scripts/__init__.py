"""The scripts: set-up, deploy, the scripted model, the stand-ins."""
