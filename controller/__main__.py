"""`python -m controller` is the command `goldmaster`."""

from controller.cli.main import main

if __name__ == "__main__":
    main()
