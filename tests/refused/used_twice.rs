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
    let _asked = session.send(Ask).await?;
    let _over = session.send(Bye).await?;
    Ok(())
}

fn main() {}
