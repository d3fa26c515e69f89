"""`python -m rlm_client._cli`, for where no script was installed."""

from rlm_client._cli import main

main()
