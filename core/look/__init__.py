"""The one look of what Lepton shows in a browser: the reports, the demonstration and the console."""
