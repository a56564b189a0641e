"""``python -m helpers`` is the command ``course``."""

from helpers.course.cli import main

if __name__ == "__main__":
    main()
