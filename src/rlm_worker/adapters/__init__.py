"""The ports on Cloudflare: the only modules, beside `entry`, that know the platform."""
