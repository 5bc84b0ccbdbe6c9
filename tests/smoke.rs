#![allow(missing_docs)]
use serde::{Deserialize, Serialize};
use sessionwire::{Channel, Connection, Error};
#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
#[test]
fn smoke() {
    futures::executor::block_on(async {
        let (here, there) = Connection::pair();
        let mut asking: Channel<Add, u32> = here.open("add/1").await?;
        asking.send(&Add(2, 3)).await?;
        let mut answering: Channel<u32, Add> = there.accept().await?.expect("a channel").accept();
        let Add(left, right) = answering.recv().await?.expect("a question");
        answering.send(&(left + right)).await?;
        assert_eq!(asking.recv().await?, Some(5));
        println!("{:?} {:#?}", here.ping().await?, here.statistics());
        let mut big = here.open_raw("big").await?;
        let mut big2 = there.accept().await?.unwrap().accept_raw();
        let sent = async {
            for i in 0..100u8 {
                big.send(vec![i; 1 << 20].into()).await?;
            }
            big.finish();
            Ok::<_, Error>(())
        };
        let got = async {
            let mut n = 0;
            while let Some(m) = big2.recv().await? {
                assert_eq!(m, vec![n as u8; 1 << 20]);
                n += 1;
            }
            big2.finish();
            Ok::<_, Error>(n)
        };
        let (a, b) = futures::join!(sent, got);
        a?;
        assert_eq!(b?, 100);
        drop((asking, answering));
        println!("{:#?}", there.statistics());
        here.drain(std::time::Duration::from_secs(1)).await?;
        Ok::<(), Error>(())
    })
    .unwrap();
}
