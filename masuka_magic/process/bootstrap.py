"""What a watched child runs first: the child's half of a start, from its compiled form.

Python compiles a program that is started by path anew each time, which takes longer than all else that child.py
does at its start. So this file is the program, and child.py runs in its place, with its names and its `__name__`.
"""

import sys
from _frozen_importlib_external import SourceFileLoader

# Where this file is run by its text alone, as in the children of multiprocessing, it has no `__file__`.
HERE = sys._getframe().f_code.co_filename  # noqa: SLF001 - the one way to a code's own file
CHILD = HERE[: -len("bootstrap.py")] + "child.py"

CODE = SourceFileLoader("masuka_child", CHILD).get_code("masuka_child")
exec(CODE)  # type: ignore[arg-type]  # noqa: S102 - a source file has a code; see above
