"""`python -m monitor` is the same command as `uptoken`."""

from monitor.cli import main

if __name__ == "__main__":
    main()
