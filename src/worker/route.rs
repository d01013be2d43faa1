//! Which of the two routes: every request, its metrics and its script function are of one. Pure.

/// Which route runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// `routes.get_route`
    Get,
    /// `routes.set_route`
    Set,
}

impl Route {
    pub(crate) const ALL: [Self; 2] = [Self::Get, Self::Set];

    /// The word in the metric labels `route` and `kind`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
        }
    }
}

/// One of a thing for each route.
#[derive(Debug)]
pub(crate) struct PerRoute<T> {
    get: T,
    set: T,
}

impl<T> PerRoute<T> {
    pub(crate) fn new(make: impl Fn(Route) -> T) -> Self {
        Self { get: make(Route::Get), set: make(Route::Set) }
    }

    pub(crate) const fn of(&self, route: Route) -> &T {
        match route {
            Route::Get => &self.get,
            Route::Set => &self.set,
        }
    }
}
