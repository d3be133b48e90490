"""Command line of the toy task: ``python -m tests.support.run_toy_task fit …``."""

import sys

from command_line.main import exit_with_message
from tests.support.toy_task import run

if __name__ == "__main__":
    exit_with_message(lambda: run(*sys.argv[1:]))
