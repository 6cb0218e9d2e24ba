//! What the example says.

use super::*;

#[tokio::test]
async fn what_fails_is_tried_again_and_then_sent_back() -> Result<(), Error> {
    let told = sell(&Engine::in_memory().await?).await?;
    let expected = "shop.orders, tried 4 times: the card's limit is too low\n";
    assert!(told.starts_with(expected), "{told}");
    Ok(())
}
