"""Reports of trainings and evaluations: metrics.json, report.md, plots and TensorBoard."""
