//! What is made from what, as the contracts say: sources, tables, references and the quarantine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::contract::{Definition, Project, Severity, Stage, Table};
use crate::silver::quarantine::QUARANTINE;

/// Nodes and edges, in the order of the flow.
#[derive(Debug, Clone, Serialize)]
pub struct Graph {
    /// Inputs before their users.
    pub nodes: Vec<Node>,
    /// From what is read to what is made.
    pub edges: Vec<Edge>,
}

/// A thing that is read or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `source.<pipeline>.<name>`, `reference.<name>` or `<stage>.<name>`.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// In words.
    pub description: String,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Where records come from.
    Source,
    /// Codes and spellings.
    Reference,
    /// A table of records as they came.
    Bronze,
    /// A table of typed and checked rows.
    Silver,
    /// A derived table.
    Gold,
    /// Where rows that do not pass are set aside.
    Quarantine,
}

/// That one thing is made from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// What is read.
    pub from: String,
    /// What is made.
    pub to: String,
    /// How.
    pub kind: EdgeKind,
}

/// How one thing comes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Its rows become rows.
    Rows,
    /// Its codes are looked up.
    Lookup,
    /// Its rows that do not pass are set aside.
    SetAside,
}

impl Graph {
    /// The graph of a project.
    pub fn of(project: &Project) -> Self {
        let mut graph = Self { nodes: Vec::new(), edges: Vec::new() };
        for pipeline in &project.pipelines {
            for source in &pipeline.sources {
                graph.node(source_id(&pipeline.name, &source.name), NodeKind::Source, &source.description);
            }
        }
        for reference in &project.references {
            let description = format!("Codes and spellings of the pipeline {}.", reference.pipeline);
            graph.node(format!("reference.{}", reference.name), NodeKind::Reference, &description);
        }
        for table in &project.tables {
            graph.table(table);
        }
        if graph.edges.iter().any(|edge| edge.kind == EdgeKind::SetAside) {
            graph.node(QUARANTINE.to_owned(), NodeKind::Quarantine, "Rows that were set aside.");
        }
        graph
    }

    fn node(&mut self, id: String, kind: NodeKind, description: &str) {
        self.nodes.push(Node { id, kind, description: description.to_owned() });
    }

    fn edge(&mut self, from: String, to: &str, kind: EdgeKind) {
        self.edges.push(Edge { from, to: to.to_owned(), kind });
    }

    fn table(&mut self, table: &Table) {
        let name = table.name.to_string();
        let kind = match table.name.stage {
            Stage::Bronze => NodeKind::Bronze,
            Stage::Silver => NodeKind::Silver,
            Stage::Gold => NodeKind::Gold,
        };
        self.node(name.clone(), kind, &table.description);
        if let Definition::Bronze { source, .. } = &table.definition {
            self.edge(source_id(&table.pipeline, source), &name, EdgeKind::Rows);
        }
        for input in table.inputs() {
            self.edge(input.to_string(), &name, EdgeKind::Rows);
        }
        for reference in table.references() {
            self.edge(format!("reference.{reference}"), &name, EdgeKind::Lookup);
        }
        if sets_aside(table) {
            self.edge(name, QUARANTINE, EdgeKind::SetAside);
        }
    }

    /// Whether the graph has a node of this id.
    pub fn has(&self, id: &str) -> bool {
        self.nodes.iter().any(|node| node.id == id)
    }

    /// What a node is made from and what is made from it, however many steps away.
    pub fn around(&self, id: &str) -> Self {
        let mut kept = self.reachable(id, |edge| (&edge.to, &edge.from));
        kept.extend(self.reachable(id, |edge| (&edge.from, &edge.to)));
        let nodes = self.nodes.iter().filter(|node| kept.contains(node.id.as_str())).cloned().collect();
        let is_kept = |edge: &&Edge| kept.contains(edge.from.as_str()) && kept.contains(edge.to.as_str());
        Self { nodes, edges: self.edges.iter().filter(is_kept).cloned().collect() }
    }

    fn reachable<'a>(
        &'a self,
        from: &'a str,
        step: impl Fn(&'a Edge) -> (&'a String, &'a String),
    ) -> BTreeSet<&'a str> {
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (here, there) in self.edges.iter().map(step) {
            next.entry(here).or_default().push(there);
        }
        let mut found = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            for there in next.get(id).into_iter().flatten() {
                if found.insert(there) {
                    open.push(there);
                }
            }
        }
        found
    }
}

fn source_id(pipeline: &str, source: &str) -> String {
    format!("source.{pipeline}.{source}")
}

/// Whether rows can be set aside: those that fail an expectation, and records that cannot be read.
fn sets_aside(table: &Table) -> bool {
    let is_record = matches!(table.definition, Definition::ByRecord { .. });
    is_record || table.expectations.iter().any(|expectation| expectation.severity == Severity::Quarantine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph { nodes: Vec::new(), edges: Vec::new() };
        for (from, to) in edges {
            for id in [from, to] {
                if !graph.has(id) {
                    graph.node((*id).to_owned(), NodeKind::Silver, "");
                }
            }
            graph.edge((*from).to_owned(), to, EdgeKind::Rows);
        }
        graph
    }

    #[test]
    fn around_a_table_is_what_it_comes_from_and_what_comes_of_it() {
        let graph = graph(&[("s", "b"), ("b", "x"), ("b", "y"), ("x", "g"), ("y", "h")]).around("x");
        let ids: Vec<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["s", "b", "x", "g"]);
        assert_eq!(graph.edges.len(), 3);
    }
}
