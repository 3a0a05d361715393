//! Small crates with one mistake each, and clean ones.

use super::{
    check_sources, circles,
    folders::{self, CrateLayers, Unlisted},
    host_calls,
    imports::{self, CrateImports},
    modules::{ModuleTree, Sources},
};

const LAYERS: CrateLayers = CrateLayers {
    crate_folder: "src",
    levels: &[&["top"], &["left", "right"], &["bottom"]],
    unlisted: Unlisted::Refused,
};

fn read(files: &[(&str, &str)]) -> CrateImports {
    let sources: Sources = files.iter().map(|(path, text)| (format!("src/{path}"), (*text).to_owned())).collect();
    imports::find(&ModuleTree::read("src/lib.rs", &sources).expect("a crate"))
}

/// Every import as `from:line path -> to`, without `src/`.
fn imported(files: &[(&str, &str)]) -> Vec<String> {
    let imports = read(files).imports.into_iter();
    let told = imports.map(|import| {
        format!("{}:{} {} -> {}", import.from.path, import.line, import.path, import.to.path).replace("src/", "")
    });
    told.collect()
}

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    circles::find(&read(files).imports)
}

fn folder_errors(files: &[(&str, &str)]) -> Vec<String> {
    folders::check(&LAYERS, &read(files))
}

#[test]
fn finds_host_calls_of_the_sdk_in_the_filter() {
    let lines =
        |file: &str, line: &str| host_calls::check(&[(file.to_owned(), line.to_owned())].into_iter().collect()).len();
    for allowed in ["proxy_wasm::main! {{", "use proxy_wasm::types::Action;", "// proxy_wasm::hostcalls panic"] {
        assert_eq!(lines("src/http.rs", allowed), 0, "{allowed}");
    }
    for refused in [
        "proxy_wasm::hostcalls::set_property(path, None)",
        "use proxy_wasm::types::{Action, Status};",
        "use proxy_wasm as sdk;",
        "use proxy_wasm::types::Action; use proxy_wasm::traits::Context;",
    ] {
        assert_eq!(lines("src/http.rs", refused), 1, "{refused}");
    }
    assert_eq!(lines("benches/noop/src/lib.rs", "use proxy_wasm::traits::Context;"), 0);
}

#[test]
fn finds_a_circle_of_two_files() {
    let errors = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::{B, b}; use crate::c::C; pub struct A(B, C);"),
        ("b.rs", "pub struct B; pub fn b(_: super::a::A) {}"),
        ("c.rs", "pub struct C;"),
    ]);
    assert_eq!(
        errors,
        ["2 files import each other in a circle; move what both sides need into a file below them:\
          \n    src/a.rs -> src/b.rs: B, b\
          \n    src/b.rs -> src/a.rs: A"]
    );
}

#[test]
fn finds_two_separate_circles() {
    let errors = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
        ("d.rs", "use crate::e::E; pub struct D;"),
        ("e.rs", "use crate::d::D; pub struct E;"),
    ]);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("3 files") && errors[0].contains("src/c.rs -> src/a.rs: A"), "{}", errors[0]);
    assert!(!errors[0].contains("src/d.rs"), "{}", errors[0]);
    assert!(errors[1].starts_with("2 files"), "{}", errors[1]);
}

#[test]
fn finds_a_parent_and_a_child_that_import_each_other() {
    let errors = circles_of(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b; use b::B; pub struct A(B); pub fn helper() {}"),
        ("a/b.rs", "pub struct B; pub fn b() { super::helper() }"),
    ]);
    assert_eq!(errors.len(), 1, "{errors:#?}");
}

#[test]
fn follows_a_re_export_to_the_file_that_defines() {
    let files = [
        ("lib.rs", "mod face; mod user; mod other;"),
        (
            "face.rs",
            "mod part; mod globbed; pub use part::{Last, Part, nested::{Inner as Renamed}}; pub use globbed::*;",
        ),
        ("face/part.rs", "pub struct Last; pub struct Part; pub mod nested { pub struct Inner; }"),
        ("face/globbed.rs", "pub struct Globbed;"),
        ("other.rs", "pub(crate) use crate::face as renamed;"),
        ("user.rs", "use crate::face::{Globbed, Part, Renamed}; fn f() { crate::other::renamed::Last; }"),
    ];
    assert_eq!(
        imported(&files),
        [
            "user.rs:1 crate::face::Globbed -> face/globbed.rs",
            "user.rs:1 crate::face::Renamed -> face/part.rs",
            "user.rs:1 crate::other::renamed::Last -> face/part.rs",
            "user.rs:1 crate::face::Part -> face/part.rs",
        ]
    );
}

#[test]
fn a_re_export_from_below_is_an_import_only_if_used() {
    let face = "mod part; pub use part::Part;";
    let part = ("face/part.rs", "pub struct Part;");
    assert_eq!(imported(&[("lib.rs", "mod face;"), ("face.rs", face), part]), [""; 0]);
    let uses = format!("{face}\npub struct Face(Part);");
    assert_eq!(imported(&[("lib.rs", "mod face;"), ("face.rs", &uses), part]), ["face.rs:2 Part -> face/part.rs"]);
    let private = "mod part; use part::Part;";
    let expected = ["face.rs:1 part::Part -> face/part.rs"];
    assert_eq!(imported(&[("lib.rs", "mod face;"), ("face.rs", private), part]), expected);
}

#[test]
fn a_re_export_from_elsewhere_is_an_import() {
    let files =
        [("lib.rs", "mod a; mod b;"), ("a.rs", "pub(crate) use crate::b::B;"), ("b.rs", "pub(crate) struct B;")];
    assert_eq!(imported(&files), ["a.rs:1 crate::b::B -> b.rs"]);
}

#[test]
fn finds_an_import_that_goes_up_or_sideways() {
    let files = [
        ("lib.rs", "mod top; mod left; mod right; mod bottom; pub struct Root;"),
        ("top.rs", "use crate::{bottom::deep::Deep, left::Left}; pub struct Top;"),
        ("left.rs", "use crate::right::Right; pub struct Left;"),
        ("right.rs", "pub struct Right;"),
        ("bottom.rs", "pub mod deep;\nuse crate::Root; pub struct Bottom;"),
        ("bottom/deep.rs", "pub struct Deep;\nfn f(_: &crate::top::Top, _: super::Bottom) {}"),
    ];
    assert_eq!(
        folder_errors(&files),
        [
            "src/bottom.rs:2: bottom imports lib.rs (crate::Root); bottom may import no other folder",
            "src/bottom/deep.rs:2: bottom imports top (crate::top::Top); bottom may import no other folder",
            "src/left.rs:1: left imports right (crate::right::Right); left may import bottom",
        ]
    );
}

#[test]
fn reports_a_folder_missing_from_layers() {
    let errors = folder_errors(&[("lib.rs", "mod stray; mod top;"), ("stray.rs", ""), ("top.rs", "")]);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("the folder stray is not in LAYERS; add it to LAYERS"), "{}", errors[0]);
}

#[test]
fn folders_below_all_levels_may_import_each_other_but_nothing_above() {
    let layers = CrateLayers { crate_folder: "src", levels: &[&["top"]], unlisted: Unlisted::Below };
    let found = read(&[
        ("lib.rs", "mod top; mod one; mod two;"),
        ("top.rs", "use crate::one::One; pub struct Top;"),
        ("one.rs", "use crate::two::Two; pub struct One;"),
        ("two.rs", "use crate::top::Top; pub struct Two;"),
    ]);
    assert_eq!(
        folders::check(&layers, &found),
        ["src/two.rs:1: two imports top (crate::top::Top); two may import the folders that LAYERS does not list"]
    );
}

#[test]
fn finds_a_path_inside_a_macro() {
    let b = ("b.rs", "pub const B: u8 = 1; pub mod c { pub fn d() {} }");
    for a in [
        "fn f() { println!(\"{}\", crate::b::B); }",
        "fn f() { assert!({ [0, super::b::B][1] > 0 }); }",
        "macro_rules! m { () => { $crate::b::B } }",
        "use crate::b; fn f() { println!(\"{}\", b::B) }",
        "#[derive(crate::b::B)] struct A;",
    ] {
        let imports = imported(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), b]);
        assert_eq!(imports.len(), 1, "{a}: {imports:?}");
        assert!(imports[0].ends_with("::B -> b.rs"), "{a}: {imports:?}");
    }
}

#[test]
fn finds_paths_in_types_patterns_and_bodies() {
    let b = ("b.rs", "pub struct B<T>(T); pub trait Bee { fn f(); } pub enum E { One }");
    for (a, line) in [
        ("fn f(x: Vec<Option<crate::b::B<u8>>>) {}", "a.rs:1 crate::b::B -> b.rs"),
        ("struct A;\nimpl crate::b::Bee for A { fn f() {} }", "a.rs:2 crate::b::Bee -> b.rs"),
        ("fn f() { <u8 as super::b::Bee>::f() }", "a.rs:1 super::b::Bee -> b.rs"),
        ("fn f() { use crate::b::E::*; }", "a.rs:1 crate::b::E -> b.rs"),
        ("fn f() { if let crate::b::E::One = e() {} }", "a.rs:1 crate::b::E -> b.rs"),
        ("fn f(_: crate::b::E) {}\nuse crate::b::E;", "a.rs:1 crate::b::E -> b.rs"),
        ("use crate::b::Bee as _;", "a.rs:1 crate::b::Bee -> b.rs"),
        ("use crate::b::{self as bee};\nfn f(_: bee::E) {}", "a.rs:2 bee::E -> b.rs"),
    ] {
        assert_eq!(imported(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), b]), [line], "{a}");
    }
}

#[test]
fn names_used_through_a_glob_are_imports() {
    let files = [
        ("lib.rs", "mod a; mod face;"),
        ("a.rs", "use crate::face::*; fn f(_: Part) {}"),
        ("face.rs", "mod part; pub use part::Part;"),
        ("face/part.rs", "pub struct Part;"),
    ];
    assert_eq!(imported(&files), ["a.rs:1 Part -> face/part.rs"]);
}

#[test]
fn a_macro_is_an_item_of_the_file_that_defines_it() {
    let macros = ("macros.rs", "macro_rules! count { () => { 1 } }\npub(crate) use count;");
    let user = ("user.rs", "use crate::macros::count; const ONE: u8 = count!();");
    let imports = imported(&[("lib.rs", "mod macros; mod user;"), macros, user]);
    assert_eq!(imports, ["user.rs:1 crate::macros::count -> macros.rs"]);
    // Without an import: an enclosing module defines it further up.
    let parent = ("a.rs", "macro_rules! count { () => { 1 } } mod b;");
    let imports = imported(&[("lib.rs", "mod a;"), parent, ("a/b.rs", "const ONE: u8 = count!();")]);
    assert_eq!(imports, ["a/b.rs:1 count -> a.rs"]);
}

#[test]
fn skips_code_that_only_tests_compile() {
    let a = "
        pub struct A;
        #[cfg(test)] use crate::b::B;
        #[cfg(all(test, unix))] fn f(_: crate::b::B) {}
        #[cfg(test)] mod inline { use crate::b::B; }
        #[cfg(test)] mod in_a_missing_file;
        impl A { #[cfg(test)] fn g(_: crate::b::B) {} }
    ";
    let b = ("b.rs", "pub struct B;");
    assert_eq!(imported(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), b]), [""; 0]);
    let shipped = ("a.rs", "#[cfg(not(test))] use crate::b::B;");
    assert_eq!(imported(&[("lib.rs", "mod a; mod b;"), shipped, b]).len(), 1);
}

#[test]
fn a_module_and_a_function_may_have_one_name() {
    let files = [
        ("lib.rs", "mod face; mod user;"),
        (
            "face.rs",
            "mod function; mod module; pub use function::both; pub use module as both; pub mod third; pub fn third() {}",
        ),
        ("face/function.rs", "pub fn both() {} pub fn third() {}"),
        ("face/module.rs", "pub struct Inside;"),
        ("face/third.rs", "pub struct Third; pub use super::function::third;"),
        (
            "user.rs",
            "fn f(_: crate::face::both::Inside) {\ncrate::face::both();\ncrate::face::third::third();\ncrate::face::third() }",
        ),
    ];
    assert_eq!(
        imported(&files),
        [
            "face/third.rs:1 super::function::third -> face/function.rs",
            "user.rs:4 crate::face::third -> face.rs",
            "user.rs:2 crate::face::both -> face/function.rs",
            "user.rs:3 crate::face::third::third -> face/function.rs",
            "user.rs:1 crate::face::both::Inside -> face/module.rs",
        ]
    );
}

#[test]
fn docs_and_visibilities_are_no_imports() {
    let a = "/// As [`B`](crate::b::B) says.\npub(in crate::b) struct A;";
    assert_eq!(imported(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "pub struct B;")]), [""; 0]);
}

#[test]
fn finds_modules_in_files_of_every_form() {
    let files = [
        ("lib.rs", "mod flat; mod folder; mod inline { mod child; } #[path = \"odd/place.rs\"] mod placed;"),
        ("flat.rs", "mod child;"),
        ("flat/child.rs", ""),
        ("folder/mod.rs", "mod child;"),
        ("folder/child.rs", ""),
        ("inline/child.rs", ""),
        ("odd/place.rs", "mod child;"),
        ("odd/child.rs", "#[path = \"../up.rs\"] mod up;"),
        ("up.rs", ""),
        ("not_declared.rs", ""),
    ];
    let found: Vec<String> = read(&files).files.into_iter().map(|file| file.path.replace("src/", "")).collect();
    let mut declared: Vec<&str> =
        files.iter().map(|(path, _)| *path).filter(|path| *path != "not_declared.rs").collect();
    declared.sort_unstable();
    assert_eq!(found, declared);
}

#[test]
fn checks_every_crate_by_its_layers() {
    let texts = [
        ("src/lib.rs", "mod left; mod right;"),
        ("src/left.rs", "use crate::right::Right;"),
        ("src/right.rs", "pub struct Right;"),
        ("a/src/main.rs", "mod b; mod c;"),
        ("a/src/b.rs", "pub fn b() { crate::c::c() }"),
        ("a/src/c.rs", "pub fn c() { crate::b::b() }"),
        ("a/tests/it.rs", "mod missing;"),
    ];
    let sources: Sources = texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let gone = CrateLayers { crate_folder: "gone/src", levels: &[], unlisted: Unlisted::Below };
    let (files, errors) = check_sources(&sources, &[LAYERS, gone]).expect("crates");
    assert_eq!(files.len(), 6, "{files:?}");
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[0].contains("a/src/b.rs -> a/src/c.rs: c"), "{}", errors[0]);
    assert!(errors[1].starts_with("src/left.rs:1: left imports right"), "{}", errors[1]);
    assert!(errors[2].starts_with("gone/src: there is no crate"), "{}", errors[2]);
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let sources = Sources::from([("src/lib.rs".to_owned(), "\nmod gone;".to_owned())]);
    let error = ModuleTree::read("src/lib.rs", &sources).err().expect("an error").to_string();
    assert_eq!(error, "src/lib.rs:2: mod gone has no file: neither src/gone.rs nor src/gone/mod.rs exists");
}

#[test]
fn circular_re_exports_do_not_loop_forever() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub use crate::b::*;"),
        ("b.rs", "pub use crate::a::*;"),
        // No source defines `Gone`, but a macro may: it counts as defined by the module that the path names.
        ("c.rs", "use crate::a::Gone;"),
    ];
    assert_eq!(imported(&files), ["c.rs:1 crate::a::Gone -> a.rs"]);
}

#[test]
fn a_clean_crate_passes() {
    let files = [
        ("lib.rs", "mod top; mod left; mod right; mod bottom; pub use top::Top;"),
        ("top.rs", "mod part; pub use part::Top;"),
        ("top/part.rs", "use crate::{bottom, left::Left, right}; pub struct Top(Left, right::Right, bottom::Bottom);"),
        ("left.rs", "use crate::bottom::Bottom; pub struct Left(Bottom);"),
        ("right.rs", "pub struct Right(crate::bottom::Bottom);"),
        ("bottom.rs", "use std::fmt; pub struct Bottom; pub type Formatted = fmt::Result;"),
    ];
    assert_eq!(folder_errors(&files), [""; 0]);
    assert_eq!(circles_of(&files), [""; 0]);
    assert_eq!(read(&files).imports.len(), 5);
}
