//! What the scenarios ask of a database themselves.

use std::time::{Duration, Instant};

use tidings::sqlx::{self, AssertSqlSafe, Executor as _, Pool, Row as _, pool::PoolOptions};
use tidings::{Database, Inbox, Outbox};

use super::PATIENCE;
use super::server::{DatabaseServer, Kind};

/// A database with whatever statement a scenario has.
pub(super) trait Sql: Database {
    const SERVER: Kind;

    async fn pool_at(url: &str) -> Result<Pool<Self>, sqlx::Error>;
    fn run(
        connection: &mut Self::Connection,
        sql: String,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
    /// The first column, which is a number.
    fn numbers(
        connection: &mut Self::Connection,
        sql: String,
    ) -> impl Future<Output = Result<Vec<i64>, sqlx::Error>> + Send;
}

macro_rules! speaks {
    ($database:ty, $kind:expr) => {
        impl Sql for $database {
            const SERVER: Kind = $kind;

            async fn pool_at(url: &str) -> Result<Pool<Self>, sqlx::Error> {
                let options = PoolOptions::new().max_connections(12);
                options.acquire_timeout(Duration::from_secs(2)).connect(url).await
            }

            async fn run(
                connection: &mut Self::Connection,
                sql: String,
            ) -> Result<(), sqlx::Error> {
                connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(|_| ())
            }

            async fn numbers(
                connection: &mut Self::Connection,
                sql: String,
            ) -> Result<Vec<i64>, sqlx::Error> {
                let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
        }
    };
}

speaks!(sqlx::Postgres, Kind::Postgres);
speaks!(sqlx::MySql, Kind::MariaDb);
speaks!(sqlx::Sqlite, Kind::Sqlite);

/// A transaction that writes.
pub(super) async fn begin<Db: Sql>(
    pool: &Pool<Db>,
) -> Result<sqlx::Transaction<'static, Db>, sqlx::Error> {
    match Db::SERVER {
        Kind::Postgres | Kind::MariaDb => pool.begin().await,
        Kind::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
    }
}

/// A server with an empty database, and connections to it.
pub(super) async fn served<Db: Sql>() -> (DatabaseServer, Pool<Db>) {
    let server = DatabaseServer::start(Db::SERVER).expect("the server starts");
    let pool = connected(&server.url()).await;
    (server, pool)
}

/// Waits until the server serves.
pub(super) async fn connected<Db: Sql>(url: &str) -> Pool<Db> {
    let begun = Instant::now();
    loop {
        match Db::pool_at(url).await {
            Ok(pool) => return pool,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "the server does not serve: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn run<Db: Sql>(pool: &Pool<Db>, sql: &str) {
    let mut connection = pool.acquire().await.expect("a connection");
    Db::run(&mut connection, sql.to_owned()).await.expect(sql);
}

pub(super) async fn numbers<Db: Sql>(pool: &Pool<Db>, sql: &str) -> Vec<i64> {
    let mut connection = pool.acquire().await.expect("a connection");
    Db::numbers(&mut connection, sql.to_owned()).await.expect(sql)
}

pub(super) async fn outbox<Db: Sql>(pool: &Pool<Db>) -> Outbox<Db> {
    Outbox::open(pool, "shop").await.expect("an outbox")
}

pub(super) async fn inbox<Db: Sql>(pool: &Pool<Db>) -> Inbox<Db> {
    Inbox::open(pool).await.expect("an inbox")
}
