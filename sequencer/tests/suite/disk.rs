//! Incident: the disk is full. A tablespace on a tiny file system in memory; mounting one takes root on Linux, elsewhere the test says so and ends.

use crate::support::{Node, alice, body, config, transfer};
use reqwest::StatusCode;
use serde_json::Value;
use sheaf_store::embedded::{Cluster, ClusterOptions, Durability};
use sqlx::{AssertSqlSafe, PgPool};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two indexes, the table and its maps have room; thousands of rows have not.
const SIZE: &str = "size=1m";

/// A mounted file system, gone when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(place: &Path) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place.to_owned())),
            other => {
                println!("skipped: no file system can be mounted here ({other:?}); run as root on Linux");
                None
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // lazily: a server that is being dropped may still have files open
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn run(pool: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.unwrap();
}

#[tokio::test]
async fn the_disk_is_full_and_what_was_acknowledged_stays() {
    let folder = tempfile::tempdir().unwrap();
    let options = ClusterOptions { durability: Durability::Disposable, ..ClusterOptions::default() };
    let cluster = Cluster::start_with(folder.path(), options).await.unwrap();
    // where the server may enter, and as it likes it
    let place = tempfile::Builder::new().prefix("sheaf-disk-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let Some(disk) = Tiny::mount(&place.path().join("disk")) else { return };
    let space = disk.0.join("space");
    fs::create_dir(&space).unwrap();
    let owner = fs::metadata(folder.path().join("data")).unwrap();
    chown(&space, Some(owner.uid()), Some(owner.gid())).unwrap();

    let pool = sheaf_store::pool::connect(cluster.url()).await.unwrap();
    run(&pool, format!("CREATE TABLESPACE tiny LOCATION '{}'", space.display())).await;
    run(&pool, "ALTER TABLE transactions SET TABLESPACE tiny".to_owned()).await;
    let node = Node::with_people(&pool, config(), 1_000_000).await;
    let mut acknowledged = vec![node.send(&alice().sign(transfer(2, 3, 0, 1))).await];
    let filler = disk.0.join("filler");
    let full = fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let refused = loop {
        let nonce = acknowledged.len() as u32;
        assert!(nonce < 2_000, "the disk does not fill up");
        let signed = alice().sign(transfer(2, 3, nonce, 1));
        match node.post(&body(&signed)).await {
            (StatusCode::OK, receipt) => acknowledged.push(receipt),
            (status, problem) => {
                assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("storage_unavailable")));
                break signed;
            }
        }
    };
    assert_eq!(node.get("/v1/slots/2").await.1["nonce"], acknowledged.len().to_string(), "readers are served, and see nothing that is not durable");
    assert_eq!(node.post(&body(&refused)).await.0, StatusCode::SERVICE_UNAVAILABLE, "as long as it is full");

    fs::remove_file(&filler).unwrap();
    acknowledged.push(node.send(&refused).await);
    for receipt in &acknowledged {
        let hash = receipt["hash"].as_str().unwrap();
        assert_eq!(node.get(&format!("/v1/transactions/{hash}")).await.1["seq"], receipt["seq"]);
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM transactions").fetch_one(&pool).await.unwrap();
    assert_eq!(count, acknowledged.len() as i64);
    node.seal(1).await;
    node.stop().await;
    drop(cluster);
}
