//! Notices that the API cannot be reached although no connection breaks, as where a network drops what is sent. A watch alone notices it
//! after minutes, because its server may have nothing to say.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::client::Clients;
use crate::kube_api::request;

/// Time between an answer of the API and the next question.
const INTERVAL: Duration = Duration::from_secs(10);

/// Asks the API for its version again and again. `lost` changes whenever it does not answer.
pub(super) async fn watch_over(clients: Arc<Clients>, lost: watch::Sender<()>) {
    loop {
        sleep(INTERVAL).await;
        // An API that refuses the question is there.
        if request::version(clients.current()).await.is_err_and(|failure| failure.code.is_none()) {
            lost.send_replace(());
        }
    }
}
