//! The page of a folder in a browser: hostile names do nothing, links lead where they say, and it is
//! light or dark as the reader's screen is. Needs Chromium; without it the tests say so and pass.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Daemon, Repo, skip};

/// Names under which it is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Longest wait for one page.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a script of a page would write into its title.
const OWNED: &str = "owned";

/// Names of files that would run a script if they were markup.
const HOSTILE: [&str; 4] = [
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><script>document.title='owned'<",
    "' onmouseover='document.title=1' x='",
    "javascript:document.title='owned'",
];

/// The tags of the page.
const OURS: [&str; 13] =
    ["a", "body", "h1", "header", "html", "main", "p", "table", "tbody", "td", "th", "thead", "tr"];

struct Browser {
    program: PathBuf,
    profile: tempfile::TempDir,
}

impl Browser {
    /// The one that is installed, if it starts at all.
    fn find(test: &str) -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let mut places =
            std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
        let Some(program) = places.find(|place| place.is_file()) else {
            skip(test, "no Chromium is installed");
            return None;
        };
        let browser = Self { program, profile: tempfile::tempdir().unwrap() };
        let said = browser.run(&["--dump-dom", "data:text/html,<p>here"]);
        if !String::from_utf8_lossy(&said.stdout).contains("<p>here") {
            skip(test, &format!("{} does not start here", browser.program.display()));
            return None;
        }
        Some(browser)
    }

    /// Runs it to its end, or until patience ends.
    fn run(&self, args: &[&str]) -> Output {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut command = Command::new(&self.program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args([profile.as_str(), "--window-size=400,300"]).args(args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            out.read_to_end(&mut text).map(|_| text).unwrap_or_default()
        });
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if since.elapsed() > PATIENCE {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Output { status, stdout: reading.join().unwrap(), stderr: Vec::new() }
    }

    /// The page as it is once its scripts have run.
    fn dom(&self, url: &str) -> String {
        let said = self.run(&["--virtual-time-budget=2000", "--dump-dom", url]);
        assert!(said.status.success(), "{url}: {}", said.status);
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// The colour of the page's corner: red, green, blue.
    fn corner(&self, url: &str, scheme: &str) -> [u8; 3] {
        let picture = self.profile.path().join("page.png");
        let (scheme, target) = (
            format!("--blink-settings=preferredColorScheme={scheme}"),
            format!("--screenshot={}", picture.display()),
        );
        self.run(&[&scheme, &target, url]);
        let png = std::fs::read(&picture).unwrap();
        std::fs::remove_file(picture).unwrap();
        first_pixel(&png)
    }
}

/// The first pixel of a PNG of 8-bit colours. Before it there is nothing, so that every filter of
/// its line leaves it as it is.
fn first_pixel(png: &[u8]) -> [u8; 3] {
    let (mut rest, mut data) = (&png[8..], Vec::new());
    while rest.len() >= 12 {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        match &rest[4..8] {
            b"IHDR" => assert!(rest[16] == 8 && matches!(rest[17], 2 | 6), "8-bit RGB or RGBA"),
            b"IDAT" => data.extend_from_slice(&rest[8..8 + length]),
            _ => {}
        }
        rest = &rest[12 + length..];
    }
    let mut pixel = [0; 4];
    flate2::read::ZlibDecoder::new(data.as_slice()).read_exact(&mut pixel).unwrap();
    [pixel[1], pixel[2], pixel[3]]
}

/// The title of a page.
fn title(dom: &str) -> &str {
    dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default()
}

#[test]
fn a_folders_page_is_inert_and_its_links_work() {
    let Some(browser) = Browser::find("browser::a_folders_page_is_inert_and_its_links_work") else {
        return;
    };
    let repo = Repo::for_daemon();
    repo.file("d/hello.txt", "hello from a file\n");
    repo.file("d/sub dir/ą?#.txt", "from below\n");
    HOSTILE.iter().for_each(|name| drop(repo.file(format!("d/{name}"), "hostile content\n")));
    repo.file("script/index.html", "<title>before</title><script>document.title='owned'</script>");
    let [root, script] = ["d", "script"].map(|name| repo.ok(["add", "-r", "-Q", name]));
    let daemon = Daemon::start(&repo);
    let site = format!("http://{}", daemon.gateway);
    // Scripts do run in this browser: a page that has one shows it.
    assert_eq!(title(&browser.dom(&format!("{site}/ipfs/{script}/"))), OWNED);

    let url = format!("{site}/ipfs/{root}/");
    let dom = browser.dom(&url);
    assert_eq!(title(&dom), format!("/ipfs/{root}/"), "{dom}");
    let body = dom.split("<body").nth(1).unwrap();
    // In what a browser writes out, `<` begins a tag wherever it stands.
    for tag in body.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split(' ').next().unwrap();
        assert!(OURS.contains(&name) && !tag.contains(" on"), "<{tag}>: {dom}");
        assert!(!tag.contains("href=\"javascript"), "<{tag}>: {dom}");
    }
    assert!(body.contains("&lt;img src=x onerror="), "{dom}");
    // Every name's link leads to its content.
    let rows = body.split("<tr>").filter(|row| row.contains("ipfs-hash"));
    let links: Vec<&str> =
        rows.map(|row| row.split("href=\"").nth(1).unwrap().split('"').next().unwrap()).collect();
    assert_eq!(links.len(), HOSTILE.len() + 2, "{links:?}");
    for link in links {
        let link = link.replace("&amp;", "&");
        let page = browser.dom(&format!("{site}{link}"));
        let expected = match link.as_str() {
            link if link.ends_with("hello.txt") => "hello from a file",
            link if link.ends_with("sub%20dir") => "ą?#.txt</a>",
            _ => "hostile content",
        };
        assert!(page.contains(expected), "{link}: {page}");
        assert_ne!(title(&page), OWNED, "{link}");
    }
}

#[test]
fn a_folders_page_is_light_or_dark_as_the_screen_is() {
    let test = "browser::a_folders_page_is_light_or_dark_as_the_screen_is";
    let Some(browser) = Browser::find(test) else { return };
    let repo = Repo::for_daemon();
    repo.file("d/hello.txt", "hello\n");
    let root = repo.ok(["add", "-r", "-Q", "d"]);
    let daemon = Daemon::start(&repo);
    let url = format!("http://{}/ipfs/{root}/", daemon.gateway);
    let [dark, light] = ["0", "1"].map(|scheme| browser.corner(&url, scheme));
    println!("the page's corner: dark {dark:?}, light {light:?}");
    assert!(dark.iter().all(|c| *c < 64), "{dark:?}");
    assert!(light.iter().all(|c| *c > 192), "{light:?}");
}
