//! To write the files after a change: `UPDATE_SCHEMAS=1 cargo test -p aftersend-schemas json_schema`.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::*;
use crate::bounce::{Table, VerdictLine};
use crate::headers::{Dead, Received};
use crate::profile::{ContributionJson, ProfileRecord};
use crate::track_call::TrackCall;

/// The headers of a record in `dead`: those it had before (what came through ingest has all of `raw`'s), and why it is there.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes what two types write")]
#[schemars(extend("dependentRequired" = {
    "source_topic": ["source_partition", "source_offset"],
    "source_partition": ["source_topic", "source_offset"],
    "source_offset": ["source_topic", "source_partition"],
}))]
struct DeadHeaders {
    #[schemars(flatten)]
    received: Option<Received<'static>>,
    /// Version of these headers; absent means 1.
    dead_version: String,
    #[schemars(flatten)]
    dead: Dead,
}

/// The column `contributions` of `profiles`: the parts of a score.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes a list")]
struct Contributions(Vec<ContributionJson<'static>>);

/// Everything that outsiders read and that describes itself: file and content.
fn schemas() -> [(&'static str, Value); 5] {
    [
        schema::<TrackCall>("track-call", TrackCall::VERSION, "Track call"),
        schema::<Contributions>("profile-contributions", 1, "Contributions"),
        schema::<VerdictLine<'_>>("bounce-verdict", 1, "Bounce verdict"),
        schema::<Received>("raw-headers", 1, "Headers of a record in raw"),
        schema::<DeadHeaders>("dead-headers", Dead::VERSION, "Headers of a record in dead"),
    ]
}

fn schema<T: JsonSchema>(name: &'static str, version: u32, title: &str) -> (&'static str, Value) {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), json!(id(name, version)));
    schema.insert("title".into(), json!(title));
    (name, schema.into())
}

fn id(name: &str, version: u32) -> String {
    format!("urn:aftersend:{name}:{version}")
}

#[test]
fn json_schema_files_are_generated_from_the_types() {
    let folder = path("json-schema");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    for (name, schema) in schemas() {
        let file = folder.join(format!("{name}.json"));
        files.retain(|known| *known != file);
        if update {
            std::fs::write(&file, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let committed = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        assert!(
            committed.as_ref() == Some(&schema),
            "{} is not what the types say; if they are right: UPDATE_SCHEMAS=1 cargo test -p aftersend-schemas json_schema",
            file.display()
        );
    }
    assert!(files.is_empty(), "no type makes these: {files:?}");
}

/// What we write, by the schema that describes it.
fn samples(name: &str) -> Vec<Value> {
    let values = |record| fixtures::<Value>(record, 1).into_iter().map(|mut fixture| fixture["value"].take());
    let headers = |fixture: headers::Fixture| fixture.headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    match name {
        "track-call" => values("track_call").collect(),
        "profile-contributions" => values("profile")
            .map(|value| {
                let profile: ProfileRecord = serde_json::from_value(value).unwrap();
                profile.evaluation.contributions().iter().map(|part| json!(ContributionJson::from(part))).collect()
            })
            .collect(),
        "bounce-verdict" => {
            let table = Table::builtin();
            ["550 5.1.1 User unknown", "452 4.2.2 over quota", "?"].map(|text| json!(VerdictLine::from(table.classify(text)))).into()
        }
        "raw-headers" => vec![Received::default().to_headers().map(|(name, value)| (name.to_owned(), json!(value))).collect()],
        "dead-headers" => headers::newest().into_iter().map(headers).collect(),
        name => panic!("no samples of {name}"),
    }
}

/// A sample with each of its members gone or of another type; a list with what is no member.
fn broken(sample: &Value) -> Vec<Value> {
    let Some(object) = sample.as_object() else { return vec![json!({}), json!([{}])] };
    let without = |name: &String| {
        let mut object = object.clone();
        object.remove(name);
        Value::Object(object)
    };
    let wrong = |name: &String| {
        let mut object = object.clone();
        object.insert(name.clone(), json!([null]));
        Value::Object(object)
    };
    object.keys().flat_map(|name| [without(name), wrong(name)]).collect()
}

#[test]
fn json_schema_files_accept_what_we_write_and_refuse_what_readers_could_not_use() {
    for (name, schema) in schemas() {
        let (mut compiled, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        let id = schema["$id"].as_str().unwrap().to_owned();
        compiler.add_resource(&id, schema).unwrap();
        let schema = compiler.compile(&id, &mut compiled).unwrap();
        for sample in samples(name) {
            compiled.validate(&sample, schema).unwrap_or_else(|error| panic!("{name}: {sample}: {error:#}"));
        }
        // The last sample of dead letters had no headers before, so that all it has is required.
        for broken in broken(samples(name).last().unwrap()) {
            assert!(compiled.validate(&broken, schema).is_err(), "{name}: {broken}");
        }
    }
}
