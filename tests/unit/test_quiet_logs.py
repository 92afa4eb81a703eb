"""Who never set logging up, as a verb that looks, hears of warnings on standard error and of nothing else."""

import json
import subprocess
import sys


def test_what_a_person_should_know_goes_to_standard_error() -> None:
    program = "from controller import logs; logs.logger().info('a.b'); logs.logger().warning('c.d', key='e')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert json.loads(line).items() >= {"event": "c.d", "key": "e", "level": "warning"}.items()
