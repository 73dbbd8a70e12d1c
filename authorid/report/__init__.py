"""The report of a scoring run: one HTML page that needs no network and runs no script but its own."""
