"""pynetdicom: answers C-ECHO."""

import sys

from pynetdicom import AE
from pynetdicom.sop_class import Verification

if __name__ == "__main__":
    entity = AE()
    entity.maximum_associations = 1000
    entity.add_supported_context(Verification)
    entity.start_server(("127.0.0.1", int(sys.argv[1])))
