# SPDX-License-Identifier: Apache-2.0
"""The lab: an emulated machine with AMD-V (or VT-x) in which lodge runs on a real /dev/kvm.

See docs/lab.md for what it is for and how to use it; `tests/lab/run --help` is the door for people,
the `lab` fixture in tests/conftest.py the door for tests.
"""
