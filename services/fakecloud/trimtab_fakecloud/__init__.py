"""A runnable emulation of the OpenStack that Trimtab needs, with a ledger of all that was done to it.

For the demo, for tests and for those who write plug-ins.
"""

from trimtab_fakecloud.running import FakeCloud, running_fakecloud
from trimtab_fakecloud.settings import CloudSpec

__all__ = ["CloudSpec", "FakeCloud", "running_fakecloud"]
