# SPDX-License-Identifier: Apache-2.0
"""Where the program under test is."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def lodge():
    """Path of lodge on the host: $LODGE or build/lodge.  It may not exist (yet)."""
    return Path(os.environ.get("LODGE", ROOT / "build" / "lodge"))
