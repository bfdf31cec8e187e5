DROP TABLE report_checkpoints;
