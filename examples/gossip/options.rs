//! What the program is told.

use std::fmt;

use sessionwire::transport::Endpoint;

const HELP: &str = "\
A chat among nodes that find each other: what is typed at one is read at all.

usage: gossip [--name NAME] [--listen URL]... [--peer URL]... [--picture]

  --name NAME    what the others call this node
  --listen URL   where others may dial it: tcp://127.0.0.1:9000, ws://127.0.0.1:9001/chat,
                 unix:///tmp/chat; as often as wanted
  --peer URL     another node, dialed whenever it is not there; the rest are found through it
  --picture      shows who is connected to whom instead of the chat
  --help         shows this

At a terminal, Ctrl-D or Ctrl-C ends it, with goodbyes to its peers. In the background it goes on when
its input ends, so start it with `</dev/null &`, and end it with `kill`.";

pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) listen: Vec<Endpoint>,
    pub(crate) peers: Vec<Endpoint>,
    pub(crate) shows_picture: bool,
}

/// What there is to say instead of chatting.
pub(crate) enum Answer {
    Help,
    Wrong(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => formatter.write_str(HELP),
            Self::Wrong(what) => write!(formatter, "gossip: {what}\ntry `gossip --help`"),
        }
    }
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Answer> {
        let mut options = Self {
            name: "somebody".to_owned(),
            listen: Vec::new(),
            peers: Vec::new(),
            shows_picture: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let missing = || Answer::Wrong(format!("{argument} needs a value"));
                arguments.next().ok_or_else(missing)
            };
            match argument.as_str() {
                "--name" => options.name = value()?,
                "--listen" => options.listen.push(endpoint(&value()?)?),
                "--peer" => options.peers.push(endpoint(&value()?)?),
                "--picture" => options.shows_picture = true,
                "--help" | "-h" => return Err(Answer::Help),
                _ => return Err(Answer::Wrong(format!("what is {argument}?"))),
            }
        }
        if options.listen.is_empty() && options.peers.is_empty() {
            let alone = "nobody would ever be there: give it a --listen or a --peer";
            return Err(Answer::Wrong(alone.to_owned()));
        }
        Ok(options)
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Answer> {
    url.parse()
        .map_err(|error: sessionwire::transport::TransportError| Answer::Wrong(error.to_string()))
}
