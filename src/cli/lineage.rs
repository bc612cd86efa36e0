//! `pipeline lineage`.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};

use super::Global;
use super::output;
use crate::error::Result;
use crate::inspect::{EdgeKind, Graph, NodeKind};
use crate::query::near;

/// What is made from what, as the contracts say; needs no lake
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline lineage
  pipeline lineage silver.exams
  pipeline lineage --format mermaid
  pipeline lineage --format dot | dot -Tsvg > lineage.svg")]
pub struct LineageArgs {
    /// Only what this table is made from and what is made from it
    table: Option<String>,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: LineageFormat,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LineageFormat {
    /// A tree.
    Text,
    /// For Markdown.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// Nodes and edges.
    Json,
}

/// Prints what is made from what.
///
/// # Errors
/// Wrong use when the project does not check or has no such table.
pub fn lineage(global: &Global, args: &LineageArgs) -> Result<()> {
    let mut graph = Graph::of(&*global.project()?);
    if let Some(table) = &args.table {
        if !graph.has(table) {
            let known: Vec<String> = graph.nodes.iter().map(|node| node.id.clone()).collect();
            let message = format!("there is no table '{table}'");
            return Err(near::unknown(&message, table, &known, "`pipeline lineage` shows all"));
        }
        graph = graph.around(table);
    }
    match args.format {
        LineageFormat::Text => output::print(&tree(&graph)),
        LineageFormat::Mermaid => output::print(&mermaid(&graph)),
        LineageFormat::Dot => output::print(&dot(&graph)),
        LineageFormat::Json => output::print_json(&graph),
    }
}

/// A tree for each node that nothing leads to. A node that several lead to is spelled out once; references stand beside
/// their users, and the quarantine, which nearly all lead to, below.
fn tree(graph: &Graph) -> String {
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    let is_beside = |kind| matches!(kind, NodeKind::Reference | NodeKind::Quarantine);
    let is_made = |id: &str| graph.edges.iter().any(|edge| edge.to == id && edge.kind == EdgeKind::Rows);
    for node in graph.nodes.iter().filter(|node| !is_beside(node.kind) && !is_made(&node.id)) {
        lines.push(label(graph, &node.id));
        branches(graph, &node.id, "", &mut seen, &mut lines);
    }
    let aside = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::SetAside);
    let (from, to): (Vec<&str>, BTreeSet<&str>) = aside.map(|edge| (edge.from.as_str(), edge.to.as_str())).unzip();
    if let Some(quarantine) = to.first() {
        lines.push(format!("rows that do not pass go to {quarantine}: of {}", from.join(", ")));
    }
    lines.join("\n")
}

fn branches<'a>(graph: &'a Graph, id: &str, indent: &str, seen: &mut BTreeSet<&'a str>, lines: &mut Vec<String>) {
    let below = children(graph, id);
    for (at, child) in below.iter().enumerate() {
        let (branch, under) = if at + 1 == below.len() { ("└─", "   ") } else { ("├─", "│  ") };
        let is_new = seen.insert(child);
        let again = if is_new || children(graph, child).is_empty() { "" } else { ", see above" };
        lines.push(format!("{indent}{branch} {}{again}", label(graph, child)));
        if is_new {
            branches(graph, child, &format!("{indent}{under}"), seen, lines);
        }
    }
}

fn children<'a>(graph: &'a Graph, id: &str) -> Vec<&'a str> {
    let below = graph.edges.iter().filter(|edge| edge.from == id && edge.kind == EdgeKind::Rows);
    below.map(|edge| edge.to.as_str()).collect()
}

/// A node's name, and the references that it looks codes up in.
fn label(graph: &Graph, id: &str) -> String {
    let looks_up = graph.edges.iter().filter(|edge| edge.to == id && edge.kind == EdgeKind::Lookup);
    let references: Vec<&str> = looks_up.map(|edge| edge.from.as_str()).collect();
    if references.is_empty() { id.to_owned() } else { format!("{id} (with {})", references.join(", ")) }
}

fn mermaid(graph: &Graph) -> String {
    let mut lines = vec!["flowchart LR".to_owned()];
    for node in &graph.nodes {
        let (open, close) = match node.kind {
            NodeKind::Source => ("([", "])"),
            NodeKind::Reference => ("[/", "/]"),
            NodeKind::Quarantine => ("{{", "}}"),
            NodeKind::Bronze | NodeKind::Silver | NodeKind::Gold => ("[(", ")]"),
        };
        lines.push(format!("  {}{open}\"{}\"{close}", mermaid_id(&node.id), node.id));
    }
    for edge in &graph.edges {
        let arrow = match edge.kind {
            EdgeKind::Rows => "-->",
            EdgeKind::Lookup | EdgeKind::SetAside => "-.->",
        };
        lines.push(format!("  {} {arrow} {}", mermaid_id(&edge.from), mermaid_id(&edge.to)));
    }
    lines.join("\n")
}

/// Names with dots are no ids in Mermaid.
fn mermaid_id(id: &str) -> String {
    id.replace('.', "__")
}

fn dot(graph: &Graph) -> String {
    let mut lines = vec!["digraph lineage {".to_owned(), "  rankdir=LR".to_owned()];
    for node in &graph.nodes {
        let shape = match node.kind {
            NodeKind::Source => "ellipse",
            NodeKind::Reference => "note",
            NodeKind::Quarantine => "hexagon",
            NodeKind::Bronze | NodeKind::Silver | NodeKind::Gold => "box",
        };
        lines.push(format!("  \"{}\" [shape={shape}]", node.id));
    }
    for edge in &graph.edges {
        let style = if edge.kind == EdgeKind::Rows { "" } else { " [style=dashed]" };
        lines.push(format!("  \"{}\" -> \"{}\"{style}", edge.from, edge.to));
    }
    lines.push("}".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Edge, Node};

    fn graph() -> Graph {
        let node = |id: &str, kind| Node { id: id.to_owned(), kind, description: String::new() };
        let edge = |from: &str, to: &str, kind| Edge { from: from.to_owned(), to: to.to_owned(), kind };
        Graph {
            nodes: vec![
                node("source.p.s", NodeKind::Source),
                node("reference.r", NodeKind::Reference),
                node("silver.a", NodeKind::Silver),
                node("silver.b", NodeKind::Silver),
                node("gold.c", NodeKind::Gold),
            ],
            edges: vec![
                edge("source.p.s", "silver.a", EdgeKind::Rows),
                edge("source.p.s", "silver.b", EdgeKind::Rows),
                edge("reference.r", "silver.a", EdgeKind::Lookup),
                edge("silver.a", "gold.c", EdgeKind::Rows),
                edge("silver.b", "gold.c", EdgeKind::Rows),
            ],
        }
    }

    #[test]
    fn the_tree_shows_every_step_and_its_references() {
        let expected = "source.p.s\n├─ silver.a (with reference.r)\n│  └─ gold.c\n└─ silver.b\n   └─ gold.c";
        assert_eq!(tree(&graph()), expected);
    }

    #[test]
    fn drawings_name_every_node_and_edge() {
        let mermaid = mermaid(&graph());
        assert!(mermaid.contains("  silver__a[(\"silver.a\")]"), "{mermaid}");
        assert!(mermaid.contains("  reference__r -.-> silver__a"), "{mermaid}");
        let dot = dot(&graph());
        assert!(dot.contains("  \"silver.a\" -> \"gold.c\"\n") && dot.ends_with('}'), "{dot}");
    }
}
