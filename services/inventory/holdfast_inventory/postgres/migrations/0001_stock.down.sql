DROP TABLE schedules;
DROP TABLE stock_changes;
DROP VIEW movements;
DROP TABLE ledger;
DROP TABLE reservations;
DROP TABLE items;
DROP TABLE sales;
