"""`python -m visift`."""

from visift.cli import main

if __name__ == "__main__":
    main()
