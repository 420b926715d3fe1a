//! The call that watches an engine's events.

use crate::Error;
use crate::client::{Call, Client};
use crate::filters::Filters;
use crate::query::Query;
use crate::stream::Messages;

/// Which events [`Client::events`] gives. Times are Unix seconds, with a fraction if wanted.
#[derive(Debug, Clone, Default)]
pub struct EventsOptions {
    /// From this time on.
    pub since: String,
    /// Until this time.
    pub until: String,
    /// Only those that match.
    pub filters: Filters,
}

impl Client {
    /// `GET /events`: messages of the form [`EventMessage`](crate::event::EventMessage).
    pub async fn events(&self, options: &EventsOptions) -> Result<Messages, Error> {
        let query = Query::new()
            .set_text("filters", &options.filters.to_param())
            .set_text("since", &options.since)
            .set_text("until", &options.until);
        Ok(Messages::new(self.send(Call::get("/events").query(query)).await?))
    }
}
