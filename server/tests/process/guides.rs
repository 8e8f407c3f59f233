//! The guides do what they say: their settings are taken, their files written, and their commands run, in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{FakeApi, FakeModel, Reply, wait_until};

use crate::common::{START_WITHIN, Up, dramatis};

/// Where guides say that the server answers.
const ADDRESS: &str = "http://127.0.0.1:3069";
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/clients/mounted_shop.py");

fn page(name: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/guides")
            .join(name),
    )
    .unwrap()
}

/// The fenced blocks of a page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    page.split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (info, text) = block.split_once('\n').unwrap();
            (info.to_owned(), text.to_owned())
        })
        .collect()
}

/// A reader who does what a page says.
struct Reader {
    dir: tempfile::TempDir,
    settings: Vec<(String, String)>,
    up: Option<Up>,
    exports: String,
    ran: usize,
}

impl Reader {
    fn new(settings: &[(&str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            dir: tempfile::tempdir().unwrap(),
            settings: settings.collect(),
            up: None,
            exports: String::new(),
            ran: 0,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Follows a page; `toml` is what its settings become here.
    fn follow(&mut self, page: &str, toml: impl Fn(&str) -> String) {
        for (info, text) in blocks(page) {
            let mut words = info.split(' ');
            match (words.next(), words.next()) {
                (Some("toml"), None) => {
                    let file = self.dir.path().join("dramatis.toml");
                    let before = fs::read_to_string(&file).unwrap_or_default();
                    fs::write(&file, before + &toml(&text)).unwrap();
                }
                (Some("json"), Some(file)) => fs::write(self.dir.path().join(file), text).unwrap(),
                (Some("sh"), None) => text
                    .replace("\\\n", "")
                    .lines()
                    .filter(|line| !line.is_empty())
                    .for_each(|line| self.type_in(line)),
                _ => {}
            }
        }
    }

    fn type_in(&mut self, line: &str) {
        self.ran += 1;
        if line.starts_with("dramatis up") {
            let settings: Vec<(&str, &str)> = self
                .settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            self.up = Some(Up::start_with(&self.data(), &settings));
            // A mounted server takes a moment to answer.
            let is_settled = || !self.say("dramatis mounts list").contains("away");
            assert!(
                wait_until(START_WITHIN, is_settled),
                "a mounted server does not come up"
            );
            return;
        }
        let api = self.up.as_ref().map_or(ADDRESS, |up| up.api.as_str());
        let line = line.replace(ADDRESS, api);
        let is_export = line.starts_with("export ");
        let script = format!("set -eu\n{}{line}\n", self.exports);
        let output = self.shell().arg("-c").arg(&script).output().unwrap();
        assert!(
            output.status.success(),
            "{line}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if is_export {
            self.exports.push_str(&line);
            self.exports.push('\n');
        }
    }

    /// A shell that finds the program by its name.
    fn shell(&self) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_dramatis")).parent().unwrap();
        let surroundings = dramatis(&self.data());
        let mut shell = Command::new("sh");
        shell
            .current_dir(self.dir.path())
            .env_clear()
            .envs(
                surroundings
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", program.display()),
            )
            .stdin(Stdio::null());
        shell
    }

    fn say(&self, line: &str) -> String {
        let script = format!("set -eu\n{}{line}\n", self.exports);
        let output = self.shell().arg("-c").arg(script).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_app_is_mounted_used_and_found_out_about_as_the_guide_says() {
    let mut reader = Reader::new(&[]);
    // Its server stands here as a program, since the address of the guide is nobody's.
    let here = |text: &str| {
        let program = format!("command = [\"python3\", {SHOP:?}]");
        text.replace("url = \"https://shop.example.org/mcp\"", &program)
    };
    reader.follow(&page("your-app.md"), here);
    assert!(reader.ran >= 12, "{}", reader.ran);
    let calls = reader.say("dramatis events cat --type ToolCalled");
    assert!(calls.contains("shop."), "Nora used the shop: {calls}");
    assert_eq!(reader.up.take().unwrap().stop(), Some(0));
}

#[test]
fn a_client_gets_an_account_a_token_and_a_space_as_the_guide_says() {
    let mut reader = Reader::new(&[]);
    // The one block of settings is another program's.
    reader.follow(&page("your-client.md"), |_| String::new());
    assert!(reader.ran >= 6, "{}", reader.ran);
    let tools = reader.say("echo \"$TOKEN\"");
    assert_eq!(tools.trim().split('.').count(), 3, "a token");
    assert_eq!(reader.up.take().unwrap().stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_asked_within_budgets_as_the_guide_says() {
    let prices = tempfile::tempdir().unwrap();
    let file = prices.path().join("prices.toml");
    fs::write(&file, FakeModel::price_list()).unwrap();
    let fake = FakeModel::directed(FakeApi::Anthropic, |_| Reply::say("Nothing to do today.")).await;
    let (base_url, file) = (fake.base_url(), file.display().to_string());
    let mut reader = Reader::new(&[
        ("ANTHROPIC_API_KEY", FakeModel::key()),
        ("DRAMATIS_ANTHROPIC_BASE_URL", &base_url),
        ("DRAMATIS_ANTHROPIC_MODEL", "fake-model"),
        ("DRAMATIS_PRICES_FILE", &file),
    ]);
    let reader = tokio::task::spawn_blocking(move || {
        reader.follow(&page("first-real-brain.md"), str::to_owned);
        assert!(reader.ran >= 7, "{}", reader.ran);
        let asked = reader.say("dramatis events cat --type ModelCalled");
        assert!(asked.contains("ModelCalled"), "{asked}");
        assert_eq!(reader.up.take().unwrap().stop(), Some(0));
    });
    reader.await.unwrap();
    assert!(!fake.requests().is_empty());
    assert_eq!(fake.faults(), Vec::<String>::new());
}
