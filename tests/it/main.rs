//! The real binary against real Kafka and the real ClickHouse engine. `make test` starts both.

mod addresses;
mod command_line;
mod consumer;
mod demo;
mod door;
mod end_to_end;
mod exactly_once;
mod fenced_brokers;
mod outages;
mod processor;
mod proof_of_life;
mod replay;
mod rules;
mod tables;
mod topics;
mod track;
mod track_answers;
mod track_cache;
