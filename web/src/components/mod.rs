//! The parts of the page: properties in, callbacks out.

mod about;
mod adapter_panel;
mod composer;
mod conversation;
mod error_panel;
mod exchange;
mod header;
mod intended_use;
mod loading_panel;
mod settings_panel;
mod starters;

pub use about::About;
pub use adapter_panel::AdapterPanel;
pub use composer::Composer;
pub use conversation::Conversation;
pub use error_panel::ErrorPanel;
pub use header::Header;
pub use intended_use::IntendedUse;
pub use loading_panel::LoadingPanel;
pub use settings_panel::SettingsPanel;
pub use starters::Starters;
