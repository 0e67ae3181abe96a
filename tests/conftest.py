"""Test helpers are imported by name from the folder of the tests that use them."""
