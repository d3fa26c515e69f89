"""What runs on this machine and deploys to the account; each command is one line of shell beside this folder."""
