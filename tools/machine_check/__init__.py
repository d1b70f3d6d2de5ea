"""The parts of tools/check_machine.py."""
