use std::os::unix::fs::symlink;

use super::*;

fn workspace() -> (tempfile::TempDir, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("workspace");
    fs::create_dir_all(root.join("inside")).unwrap();
    fs::create_dir_all(directory.path().join("outside")).unwrap();
    symlink("inside", root.join("link-inside")).unwrap();
    symlink("../outside", root.join("link-outside")).unwrap();
    symlink("nowhere", root.join("link-nowhere")).unwrap();
    let workspace = Workspace::find(Some(root.as_os_str()), Path::new("/")).unwrap();
    (directory, workspace)
}

#[test]
fn a_relative_path_stays_inside_the_workspace() {
    let (_directory, workspace) = workspace();
    for (path, displayed) in [
        (".", "."),
        ("a/b", "a/b"),
        ("./a//b/", "a/b"),
        ("a/../b", "b"),
        ("inside/../b", "b"),
        ("link-inside/x", "inside/x"),
        ("link-inside/../x", "x"),
    ] {
        assert_eq!(workspace.display_path(&workspace.resolve(path).unwrap()), displayed, "{path}");
    }
    for path in ["..", "../outside", "a/../../outside", "link-outside", "link-outside/x", "inside/../../outside"] {
        assert!(matches!(workspace.resolve(path), Err(PathError::Outside(_))), "{path}");
    }
    assert!(matches!(workspace.resolve("link-nowhere/x"), Err(PathError::Unreadable { .. })));
    for (path, displayed) in
        [("/elsewhere/x", "/elsewhere/x"), ("/elsewhere/y/../x", "/elsewhere/x"), ("/../../x", "/x")]
    {
        assert_eq!(workspace.display_path(&workspace.resolve(path).unwrap()), displayed, "{path}");
    }
}

#[test]
fn a_path_inside_the_workspace_is_displayed_as_relative_even_if_it_was_given_as_absolute() {
    let (_directory, workspace) = workspace();
    let absolute = workspace.root().join("inside/x.csv");
    assert_eq!(workspace.display_path(&absolute), "inside/x.csv");
}

#[test]
fn missing_directories_are_created_and_can_be_removed() {
    let (_directory, workspace) = workspace();
    let created = workspace.create_directories(&workspace.root().join("inside/a/b")).unwrap();
    assert_eq!(created.iter().map(|path| workspace.display_path(path)).collect::<Vec<_>>(), ["inside/a", "inside/a/b"]);
    remove_empty_directories(&created);
    assert!(!workspace.root().join("inside/a").exists() && workspace.root().join("inside").exists());
}

#[test]
fn the_error_of_a_missing_workspace_includes_its_path() {
    let error = Workspace::find(Some("/no/such/place".as_ref()), Path::new("/")).unwrap_err();
    assert_eq!(
        format!("{error:#}").split(" (os").next(),
        Some("cannot use the workspace /no/such/place: No such file or directory")
    );
}
