#![allow(unused_imports)]

use serde::{Deserialize, Serialize};
use sessionwire::session::{Client, Server};
use sessionwire::{Session, SessionError, protocol};

#[derive(Serialize, Deserialize)]
pub struct Ask;
#[derive(Serialize, Deserialize)]
pub struct Answer;
#[derive(Serialize, Deserialize)]
pub struct Bye;

protocol! {
    pub Asking = "asking" version 1;
    Idle: Client(secs(1), 1) { 0 Ask => Asked, 1 Bye => End }
    Asked: Server(secs(1), 1) { 0 Answer => Idle }
}

pub async fn ask(session: Session<Idle<Client>>) -> Result<(), SessionError> {
    let Asked::Answer(_, session) = session.send(Ask).await?.recv().await?;
    session.send(Bye).await?.close();
    Ok(())
}

pub async fn answer(mut session: Session<Idle<Server>>) -> Result<(), SessionError> {
    loop {
        session = match session.recv().await? {
            Idle::Ask(_, next) => next.send(Answer).await?,
            Idle::Bye(_, next) => {
                next.close();
                return Ok(());
            }
        }
    }
}

fn main() {}
