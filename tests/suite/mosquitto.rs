//! A mosquitto of the test's own: on a free loopback port, ended with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use faultgate::io::mqtt::config::{BrokerUrl, Transport};

pub struct Mosquitto {
    pub port: u16,
    config: tempfile::TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// `None`, and a word about it, where mosquitto is not installed.
    pub fn start() -> Option<Mosquitto> {
        Mosquitto::start_with(|_| "allow_anonymous true\n".to_owned())
    }

    /// With lines of configuration that name files in its folder.
    pub fn start_with(lines: impl Fn(&Path) -> String) -> Option<Mosquitto> {
        let port = free_port();
        let config = tempfile::tempdir().unwrap();
        let own = lines(config.path());
        let text =
            format!("listener {port} 127.0.0.1\npersistence false\nmax_queued_messages 0\n{own}");
        std::fs::write(config.path().join("mosquitto.conf"), text).unwrap();
        let mut broker = Mosquitto { port, config, process: None };
        if !broker.run() {
            println!("skipped: mosquitto is not installed");
            return None;
        }
        Some(broker)
    }

    /// One that keeps its sessions and messages on disk when it is told to stop.
    pub fn start_persistent() -> Option<Mosquitto> {
        Mosquitto::start_with(|folder| {
            // Else one that root starts becomes somebody who may not write there.
            let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
            let folder = folder.display();
            format!(
                "allow_anonymous true\n{user}persistence true\npersistence_location {folder}/\n"
            )
        })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A source of a gateway that reads what devices publish here.
    pub fn source(&self) -> String {
        format!(
            "[[source]]\nname = \"plant\"\nurl = \"mqtt://{}\"\ntopics = [\"plant/+/+/+/telemetry\"]\n\
             topic = \"plant/{{site}}/{{class}}/{{device}}/telemetry\"\n",
            self.address()
        )
    }

    /// Stops it with all that it remembers, and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.run());
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM: what is to be on disk is written there.
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = rustix::process::Pid::from_child(&process);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            process.wait().unwrap();
        }
    }

    pub fn run(&mut self) -> bool {
        let config = self.config.path().join("mosquitto.conf");
        let spawned = program("mosquitto").arg("-c").arg(config).stderr(Stdio::null()).spawn();
        self.process = spawned.ok();
        self.process.is_some()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn program(name: &str) -> Command {
    let sbin = Path::new("/usr/sbin").join(name);
    Command::new(if sbin.exists() { sbin } else { name.into() })
}

pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

pub fn transport(port: u16, topic: &str, client_id: &str) -> Transport {
    Transport {
        url: BrokerUrl::External { host: "127.0.0.1".into(), port, tls: false },
        user: None,
        ca: None,
        client_certificate: None,
        topics: vec![topic.into()],
        qos: 1,
        shared_group: String::new(),
        client_id: client_id.into(),
    }
}
