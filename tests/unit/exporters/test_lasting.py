"""What garbage collection is spared, in a process of its own: freezing stays."""

from __future__ import annotations

import subprocess
import sys

CHECKS = """\
import gc

from edgedeploy.exporters.lasting import keep_what_is_left, lasting_imports

with lasting_imports():
    assert not gc.isenabled()
    import fractions
assert gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 0

class Node:
    pass

loop = Node()
loop.own = loop
with lasting_imports():  # the SDK is there: nothing that a lane left is kept
    import fractions
assert gc.get_freeze_count() == frozen

del loop
assert any(type(one) is Node for one in gc.get_objects())
keep_what_is_left()
assert gc.get_freeze_count() > frozen
gc.unfreeze()
assert not any(type(one) is Node for one in gc.get_objects())

try:
    with lasting_imports():
        import no_such_module
except ImportError:
    pass
assert gc.isenabled()
"""


def test_imports_are_not_collected_and_garbage_is() -> None:
    done = subprocess.run([sys.executable, "-c", CHECKS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
