"""The standard library's servers after ``gevent.monkey.patch_all()``: threads are greenlets."""

from gevent import monkey

monkey.patch_all()

from .announcing import run_variant  # noqa: E402  (patching comes first, or it is not whole)
from .stdlib import VARIANTS  # noqa: E402

if __name__ == "__main__":
    run_variant(VARIANTS)
