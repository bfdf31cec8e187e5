DROP TABLE customer_refusals;
DROP TABLE refusal_counts;
