"""The resource /projects: create, list, read, change, delete."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .db import session
from .models import Project

router = APIRouter(prefix="/projects", tags=["projects"])
Database = Annotated[Session, Depends(session)]


class ProjectIn(BaseModel):
    """What a client sends."""

    name: str = Field(min_length=1, max_length=80)
    description: str = ""


class ProjectOut(ProjectIn):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime


@router.post("", status_code=201, response_model=ProjectOut)
def create(new: ProjectIn, database: Database) -> Project:
    """Create a project."""
    return _save(Project(name=new.name, description=new.description), database)


@router.get("", response_model=list[ProjectOut])
def read_all(database: Database) -> list[Project]:
    """List the projects, oldest first."""
    return list(database.scalars(select(Project).order_by(Project.id)))


@router.get("/{project_id}", response_model=ProjectOut)
def read_one(project_id: int, database: Database) -> Project:
    """Read one project."""
    return _find(project_id, database)


@router.put("/{project_id}", response_model=ProjectOut)
def change(project_id: int, new: ProjectIn, database: Database) -> Project:
    """Change a project."""
    project = _find(project_id, database)
    project.name, project.description = new.name, new.description
    return _save(project, database)


@router.delete("/{project_id}", status_code=204)
def delete(project_id: int, database: Database) -> None:
    """Delete a project."""
    database.delete(_find(project_id, database))
    database.commit()


def _find(project_id: int, database: Session) -> Project:
    project = database.get(Project, project_id)
    if project is None:
        raise HTTPException(404, f"there is no project {project_id}")
    return project


def _save(project: Project, database: Session) -> Project:
    database.add(project)
    try:
        database.commit()
    except IntegrityError as error:
        raise HTTPException(409, f"there is a project called {project.name!r} already") from error
    return project
