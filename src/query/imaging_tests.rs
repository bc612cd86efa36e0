//! The named queries of the imaging pipeline, asked of a lake that a run made of a few exams.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::contract::{self, Project};
use crate::error::Kind;
use crate::lake::Durability;
use crate::run::{Inputs, Options, Run};

fn label(class: &str, date: &str, method: &str, value: bool) -> Value {
    json!({"classification": class, "labelled_by": "A", "labelled_date": date, "labelling_method": method, "value": value})
}

fn exam(id: u32, body_part: &str, labels: &[Value]) -> Value {
    let content = json!({"id": id, "body_part": body_part, "image_path": format!("gs://x/{id}.dcm"), "labels": labels});
    json!({"content": content, "publication_timestamp": 1_640_000_000})
}

/// Exams that the questions tell apart, each in its own way.
fn exams() -> Value {
    let (doctor, model) = ("physician", "ml_model");
    let turned = [
        label("covid19", "2021-12-12", model, false),
        label("covid19", "2021-01-01", doctor, true),
        label("pneumonia", "2021-12-12", model, true),
        label("pneumonia", "2021-12-12", doctor, false),
    ];
    let mut without_image = exam(8, "chest", &vec![label("mass", "2021-05-01", doctor, true); 3]);
    without_image["content"]["image_path"] = Value::Null;
    json!([
        exam(
            1,
            "chest",
            &[label("covid", "2021-12-05", doctor, true), label("pneumonia", "2021-12-06", doctor, false)]
        ),
        // The second class counts whenever it was labelled, and however both are spelled.
        exam(2, "Tórax", &[label("Covid", "2021-12-31", model, true), label("Pneumonia", "2020-01-01", model, true)]),
        exam(3, "hand", &[label("covid19", "2021-12-10", doctor, false), label("covid19", "2021-11-30", model, true)]),
        // A true label in the month, and a consensus that says no.
        exam(4, "hand", &[label("covid19", "2021-12-01", model, true), label("covid19", "2021-10-01", doctor, false)]),
        // No true label in the month, a true one of the second class, and a consensus that says the opposite of both.
        exam(5, "hand", &turned),
        exam(6, "hand", &[label("covid19", "2022-01-01", doctor, true)]),
        exam(7, "low_exm", &[]),
        without_image,
        exam(9, "hand", &turned),
    ])
}

fn reports() -> Value {
    let report = |date: &str, text: &str| json!({"content": {"exam_id": 1, "report_date": date, "text": text}});
    json!([report("2021-12-09", "later"), report("2021-12-07", "first")])
}

struct Asked {
    _folder: tempfile::TempDir,
    reader: Reader,
    project: Arc<Project>,
}

impl Asked {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("exam", exams()), ("medical_report", reports())] {
            let place = folder.path().join("data").join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("a.json"), content.to_string()).unwrap();
        }
        let lake = Lake::at(folder.path().join("lake").to_str().unwrap(), Durability::None).unwrap();
        let project = Arc::new(contract::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap());
        let data = folder.path().join("data").to_str().unwrap().to_owned();
        let run = Run::new(
            lake.clone(),
            project.clone(),
            Inputs { data, ..Inputs::default() },
            Limits::default(),
            Arc::new(|_| {}),
        );
        let options = Options { pipelines: vec!["imaging".to_owned()], ..Options::default() };
        assert!(run.execute(&options).await.unwrap().errors.is_empty());
        Self { _folder: folder, reader: Reader::new(lake, Limits::default()), project }
    }

    async fn try_ask(&self, name: &str, params: &[(&str, &str)]) -> Result<Value> {
        let query = self.project.query(name).unwrap();
        let given: Vec<(String, String)> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let values = Values::of_query(query, &given, &self.project.references)?;
        let answer = self.reader.plan(&Statement::parse(&query.sql)?, &self.project.references, &values).await?;
        let mut out = Vec::new();
        write(answer.rows().await?, Encoding::Json, &mut out).await?;
        Ok(serde_json::from_slice(&out)?)
    }

    async fn ask(&self, name: &str, params: &[(&str, &str)]) -> Value {
        self.try_ask(name, params).await.unwrap_or_else(|error| panic!("{name} {params:?}: {error}"))
    }
}

fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_questions_are_answered() {
    let asked = Asked::new().await;
    let count = "exams_with_label_without_label";
    for (params, expected) in [
        (vec![], 2),
        (vec![("with", " COVID "), ("without", "Pneumonia"), ("month", "2021-12")], 2),
        (vec![("month", "2021-12-24")], 2),
        (vec![("by", "Consensus")], 3),
        (vec![("month", "2022-01")], 1),
        (vec![("month", "2021-11")], 1),
        (vec![("month", "2021-11"), ("by", "consensus")], 0),
        (vec![("with", "mass"), ("month", "2021-05")], 1),
    ] {
        assert_eq!(asked.ask(count, &params).await, json!([{"exams": expected}]), "{params:?}");
    }

    let sample = asked.ask("exams_by_body_part", &[("body_part", "THORAX"), ("more_than", "1")]).await;
    assert_eq!(column(&sample, "exam_id"), ["1", "2"]);
    assert_eq!(sample[0]["reports"], json!(["first", "later"]));
    assert_eq!(sample[1]["image_uri"], "gs://x/2.dcm");
    assert_eq!(sample[1]["labels"][1]["classification"], "Pneumonia");
    let own_code = asked.ask("exams_by_body_part", &[("body_part", "Low_Exm"), ("more_than", "-1")]).await;
    assert_eq!(
        (column(&own_code, "exam_id"), column(&own_code, "body_part")),
        (vec!["7".into()], vec!["LOW_EXM".into()])
    );
    let few = asked.ask("exams_by_body_part", &[("body_part", "hand"), ("more_than", "0"), ("limit", "2")]).await;
    assert_eq!(column(&few, "exam_id"), ["3", "4"]);

    assert_eq!(column(&asked.ask("incomplete_exams", &[("under", "20")]).await, "exam_id"), ["7"]);
    assert_eq!(asked.ask("incomplete_exams", &[]).await.as_array().unwrap().len(), 9);
    let consensus = asked.ask("exam_consensus", &[("exam_id", "5")]).await;
    let expected = json!([{"classification": "covid19", "value": true, "score": 5},
                          {"classification": "pneumonia", "value": false, "score": 5}]);
    assert_eq!(consensus, expected);
    let activity = asked.ask("labeller_activity", &[("from", "2020-01"), ("to", "2021-05")]).await;
    assert_eq!(column(&activity, "month"), ["2020-01-01", "2021-01-01", "2021-05-01"]);
    assert_eq!((&activity[1]["labels"], &activity[2]["exams"]), (&json!(2), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_reference_knows_is_refused() {
    let asked = Asked::new().await;
    for (params, expected) in [
        (("with", "pnemonia"), "'pnemonia' is not in reference.label_classes\n  hint: did you mean 'pneumonia'?"),
        (("by", "label"), "'label' is not in reference.label_evidence\n  hint: did you mean 'labels'?"),
        (("month", "December"), "'December' is not a DATE such as"),
    ] {
        let error = asked.try_ask("exams_with_label_without_label", &[params]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(expected), "{error}");
    }
}
