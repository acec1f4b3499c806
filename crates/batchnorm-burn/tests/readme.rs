//! The README's Burn example: the core, which compiles the README's other blocks, has no Burn.

#![allow(missing_docs)]

#[test]
fn it_is_word_for_word_the_first_example_of_the_crates_documentation() {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once("```rust,ignore\n").expect("the block that the core leaves out");
    let (block, rest) = block.split_once("\n```\n").expect("its end");
    assert!(!rest.contains("```rust,ignore"), "another block that nobody compiles");

    // Compiled and run as a documentation test.
    let documentation = include_str!("../src/lib.rs");
    let lines = documentation.lines().map_while(|line| line.strip_prefix("//!"));
    let text: String = lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    let (_, first) = text.split_once("```\n").expect("an example");
    let (first, _) = first.split_once("\n```\n").expect("its end");
    assert_eq!(block, first);
}
