//! What does not fit together is an error at the start.

use super::*;
use crate::{Dep, Error, Outcome, Received, Service, State, done};

#[derive(Clone, Default)]
struct Stock;
struct Bank;

async fn plain(_: Received<OrderPlaced>) -> Outcome<()> {
    done(())
}

async fn needy(
    _: Received<OrderPlaced>,
    _bank: Dep<Bank>,
    _stock: State<Stock>,
) -> Outcome<Option<Shipped>> {
    done(None)
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shipping.commands", key = "order", kind = "command")]
struct Ship {
    order: String,
}

async fn carry_out(ship: Received<Ship>) -> Outcome<Shipped> {
    done(Shipped { order: ship.order.clone() })
}

async fn carry_out_too(_: Received<Ship>) -> Outcome<()> {
    done(())
}

async fn ask(placed: Received<OrderPlaced>) -> Outcome<Ship> {
    done(Ship { order: placed.order.clone() })
}

#[tokio::test]
async fn a_command_is_for_one_handler_of_the_service_it_names_and_no_fact() {
    let engine = engine(1).await;
    for (service, problem) in [
        (
            Service::new("payment").on(carry_out),
            "the command Ship is not for this service, whose commands are in payment.commands",
        ),
        (
            Service::new("shipping").on(carry_out).on(carry_out_too),
            "two handlers of the command Ship: it is carried out once",
        ),
        (
            Service::new("order").on(ask).state(1u8).fold(|_: &mut u8, _: &Ship| ()),
            "the fold of Ship: a command is no fact",
        ),
    ] {
        let service_name = service.name().to_owned();
        let error = service.start(&engine).await.map(|_| ()).expect_err(problem);
        assert_eq!(error, Error::Wiring { service: service_name, problem: problem.into() });
    }
    let order = Service::new("order").on(ask).start(&engine).await.expect("started");
    let shipping = Service::new("shipping").on(carry_out).start(&engine).await.expect("started");
    place(&engine, &["a"]).await;
    until(&shipping, |f| f.emitted == 1).await;
    order.stop().await.expect("stopped");
    shipping.stop().await.expect("stopped");
    let command = records(&engine, "shipping.commands").await.remove(0);
    assert_eq!(command.header("ce_kind"), Some("command"));
    let fact = records(&engine, "shipments").await.remove(0);
    assert_eq!(fact.header("ce_kind"), Some("domain"));
}

#[tokio::test]
async fn a_service_that_lacks_something_does_not_start() {
    let engine = Engine::in_memory().await.expect("an engine");
    let name = "a service is named with letters, digits, `.`, `_` and `-`, up to 200";
    let closure = "the handler of OrderPlaced is a closure, which has no stable name: \
                   write .on_named(\"name\", …)";
    for (service, problem) in [
        (Service::new("s"), "no handler: write .on(handler)"),
        (Service::new("a shop").on(plain), name),
        (Service::new("").on(plain), name),
        (Service::new("s").on(needy), "handler needy: Dep<Bank> needs .with(Bank)"),
        (Service::new("s").on(needy).with(Bank), "handler needy: State<Stock> needs .state(Stock)"),
        (
            Service::new("s").on(plain).on(plain),
            "two handlers are named plain: write .on_named(\"other\", plain)",
        ),
        (
            Service::new("s").on(plain).fold(|_: &mut u8, _: &Shipped| ()),
            "the fold of Shipped needs .state(u8)",
        ),
        (Service::new("s").on(plain).state(1u8).state(2u8), "two states of type u8"),
        (Service::new("s").on(plain).with(1u8).with(2u8), "two dependencies of type u8"),
        (Service::new("s").on(|_: Received<OrderPlaced>| async { done(()) }), closure),
        (
            Service::new("s").on(plain).timeout(Duration::from_secs(60)),
            "a timeout of 60s is not in 1 ns..=45s",
        ),
    ] {
        let service_name = service.name().to_owned();
        let error = service.start(&engine).await.map(|_| ()).expect_err(problem);
        assert_eq!(error, Error::Wiring { service: service_name, problem: problem.into() });
    }
    let made: Vec<String> = engine
        .topics()
        .await
        .expect("topics")
        .into_iter()
        .filter(|topic| !topic.internal)
        .map(|topic| topic.name)
        .collect();
    assert!(made.is_empty(), "a refused service makes no topics: {made:?}");
}

#[tokio::test]
async fn a_service_makes_the_topics_it_needs() {
    let engine = Engine::in_memory().await.expect("an engine");
    let service = Service::new("s").with(Bank).state(Stock).on(needy);
    let service = service.fold(|_: &mut Stock, _: &PaymentCompleted| ()).without_reports();
    let running = service.start(&engine).await.expect("started");
    let topics = engine.topics().await.expect("topics");
    let names: Vec<&str> = topics.iter().filter(|t| !t.internal).map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["orders", "payments", "s.changelog", "s.control", "s.dead", "shipments"]);
    running.stop().await.expect("stopped");
}
