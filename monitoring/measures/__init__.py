"""What is measured about a window; every module yields `monitoring.measure.Measure`."""
