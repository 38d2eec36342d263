use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::write;
use crate::chronicle::{Account, Ending, Subject};
use crate::progress::script;

/// Returns the events of the build that fails.
fn events() -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let store =
        std::sync::Arc::new(oxbox_layers::store::Layout::create(folder.path().join("store")).unwrap());
    let subject =
        Subject { name: "app".to_owned(), names: Vec::new(), state: folder.path().to_owned(), store };
    let (record, error) = (script::failing(), anyhow::anyhow!("no luck"));
    let account = Account {
        subject: &subject,
        record: &record,
        ending: Ending::Failed(&error),
        total: Duration::from_millis(6200),
        image: None,
        indexes: None,
    };
    let mut trace: Value = serde_json::from_str(&write(&account)).unwrap();
    serde_json::from_value(trace["traceEvents"].take()).unwrap()
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("{field} of {event}"))
}

#[test]
fn slices_of_a_lane_are_apart_or_nested() {
    let mut lanes: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events().iter().filter(|event| event["ph"] == "X") {
        let begin = number(event, "ts");
        lanes.entry(number(event, "tid")).or_default().push((begin, begin + number(event, "dur")));
    }
    assert_eq!(lanes.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for slices in lanes.values() {
        for (at, (begin, end)) in slices.iter().enumerate() {
            for (other_begin, other_end) in &slices[..at] {
                let apart = other_end <= begin || end <= other_begin;
                let within =
                    (other_begin <= begin && end <= other_end) || (begin <= other_begin && other_end <= end);
                assert!(apart || within, "{slices:?}");
            }
        }
    }
}

#[test]
fn a_step_says_what_became_of_it() {
    let events = events();
    let step = |name: &str| events.iter().find(|event| event["name"] == name).unwrap();
    let made = step("[work 2/2] RUN make");
    assert_eq!((number(made, "ts"), number(made, "dur")), (1_000_000, 1_500_000));
    let args = &made["args"];
    assert_eq!(
        (&args["verdict"], &args["line"], &args["inputs"]),
        (&"made".into(), &3.into(), &Value::from(vec![1]))
    );
    assert_eq!(
        (&args["layerSize"], &args["why"]),
        (&2_500_000.into(), &"no step with this text was built before".into())
    );
    let failed = step("[stage-2 3/4] RUN false");
    assert_eq!(failed["args"]["error"], "it broke: on purpose");
    assert_eq!(step("[base 2/3] COPY motd /motd")["args"]["verdict"], "cached");
    assert!(!events.iter().any(|event| event["name"] == "[stage-2 4/4] RUN true"));
    assert_eq!(step("build")["args"]["error"], "no luck");
}

#[test]
fn a_step_that_was_made_is_its_key_and_its_making() {
    let events = events();
    let phases: Vec<_> = events
        .iter()
        .filter(|event| event["cat"] == "phase" && event["tid"] == 2)
        .map(|event| (event["name"].as_str().unwrap(), number(event, "ts"), number(event, "dur")))
        .collect();
    assert_eq!(
        phases,
        [
            ("key", 1_000_000, 200_000),
            ("make", 1_200_000, 1_300_000),
            ("key", 2_500_000, 500_000),
            ("make", 3_000_000, 3_000_000)
        ]
    );
}

#[test]
fn every_arrow_leaves_an_input_and_arrives() {
    let events = events();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
    let (leave, arrive) = (of("s"), of("f"));
    assert_eq!(leave.len(), 5);
    for (leave, arrive) in leave.iter().zip(arrive) {
        assert_eq!((&leave["id"], &arrive["bp"]), (&arrive["id"], &"e".into()));
        assert!(number(leave, "ts") <= number(arrive, "ts"));
    }
}
