//! The tree: where it is and which files belong to the project.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file of the project: its path from the root, with `/`, and its text.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// The file's name without folders.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the file was written by a program: nobody reads it, so no habit applies to it.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.contains("/generated/")
            || self.text.lines().take(5).any(|line| line.contains("@generated"))
    }
}

/// Folders that hold no source: build output, version control, data of a running node.
const NOT_SOURCE: &[&str] = &["target", ".git", "tidings-data", "__pycache__"];
/// Endings of the text files that `tidy` reads.
const TEXT: &[&str] = &["rs", "md", "toml", "json", "py", "java", "html", "css", "js", "sh", "yml"];

pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Every text file of the project, sorted by path.
pub(crate) fn read_sources(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !NOT_SOURCE.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_text(&path) || path.ends_with(".ci/run") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                files.push(SourceFile { path: relative(root, &path), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|ending| TEXT.iter().any(|text| ending == *text))
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}
