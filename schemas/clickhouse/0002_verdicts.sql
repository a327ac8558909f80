-- What decided a bounce's class, so that rules can be judged by what they decided; and opens and clicks that no human made.
ALTER TABLE {database}.message_outcomes
    ADD COLUMN IF NOT EXISTS bounce_rule LowCardinality(String) AFTER bounce_class,
    ADD COLUMN IF NOT EXISTS bounce_confidence UInt8 AFTER bounce_rule,
    ADD COLUMN IF NOT EXISTS bounce_table UInt32 AFTER bounce_confidence,
    ADD COLUMN IF NOT EXISTS machine Bool AFTER bounce_table;

-- A view keeps the columns it was made with.
CREATE OR REPLACE VIEW {database}.message_outcomes_current AS SELECT * FROM {database}.message_outcomes FINAL;
